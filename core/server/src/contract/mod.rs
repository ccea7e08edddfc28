//! What travels over the wire: requests with their checks, and responses. Every field of both wire generations of the
//! original server is here; fields of ours are additions that old clients do not see or do not mind.

pub mod event;
pub mod fields;
pub mod job;
pub mod request;
pub mod service;
pub mod values;
