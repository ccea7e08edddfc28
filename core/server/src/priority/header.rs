//! The header in which clients say how urgent a response is (RFC 9218, section 4).

/// The urgency of who says none; 0 is the most urgent, 7 the least.
const USUAL: u8 = 3;

/// What a client says of a response that it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    pub(super) urgency: u8,
    /// Whether a piece of it is of use already: it shares with others of its urgency.
    pub(super) incremental: bool,
}

impl Priority {
    /// The priority that the header's `values` say. What makes no sense is as if it was not said.
    pub fn read<'a>(values: impl Iterator<Item = &'a str>) -> Priority {
        let mut said = Priority { urgency: USUAL, incremental: false };
        for member in values.flat_map(|v| v.split(',')) {
            // What is behind a semicolon are parameters, of which there are none.
            match member.split(';').next().unwrap_or_default().trim() {
                "i" | "i=?1" => said.incremental = true,
                "i=?0" => said.incremental = false,
                other => {
                    let urgency = other.strip_prefix("u=").and_then(|u| u.parse().ok());
                    said.urgency = urgency.filter(|u| *u <= 7).unwrap_or(said.urgency);
                }
            }
        }
        said
    }
}
