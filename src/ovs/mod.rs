//! Open vSwitch of the host, by its database (OVSDB, RFC 7047) on a Unix socket. In: the socket. Out: [`OvsClient`], which holds what
//! the database has of bridges and ports and carries out transactions. Knows ports and bridges, and neither the kernel nor objects.
//!
//! No crate that implements OVSDB is maintained; what is needed of it is `monitor`, `transact` and `echo`.

mod client;
mod connection;
pub mod database;
pub mod error;
mod framing;
mod socket_watch;
pub mod transaction;
mod value;

pub use self::client::OvsClient;
pub use self::database::Database;
pub use self::error::OvsError;
