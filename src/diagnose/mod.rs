//! From facts to findings: where the path of an address is incomplete, why a session is down. In: what FRR and the kernel
//! report. Out: sentences with the remedy. Pure: reads nothing by itself and knows nothing of the status.

pub mod cause;
pub mod filtered;
pub mod tcp_diagnosis;
pub mod trace;

pub use cause::SessionCause;
