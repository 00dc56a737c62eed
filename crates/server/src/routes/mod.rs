//! Handlers: one file per noun of the API. How a handler describes its route: [`crate::openapi`].

pub(crate) mod file;
pub(crate) mod health;
pub(crate) mod labels;
pub(crate) mod link;
pub(crate) mod mcp;
pub(crate) mod own;
pub(crate) mod picture;
pub(crate) mod port;
pub(crate) mod sessions;
pub(crate) mod stream;
pub(crate) mod tickets;
pub(crate) mod tools;
pub(crate) mod view;
pub(crate) mod view_files;
