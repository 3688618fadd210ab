//! From facts to findings: where the way of an address ends, why a session is down. Pure.

pub mod cause;
pub mod tcp_diagnosis;
pub mod trace;
