//! From a snapshot to the state that kernel and FRR shall have.
