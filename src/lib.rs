//! perouter
