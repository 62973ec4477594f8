//! The wire: Flight SQL's service and client.
