//! Both sides of what a pass compares. Pure data.

use crate::frr::config::tree::Config;
use crate::kernel::model::KernelState;

/// Kernel and FRR, wanted or observed.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    /// Kernel.
    pub kernel: &'a KernelState,
    /// FRR.
    pub frr: &'a Config,
}
