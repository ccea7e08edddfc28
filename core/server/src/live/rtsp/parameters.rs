//! The parameters of a challenge.

/// `name=value` and `name="value"` between commas; names in lower case.
pub fn parameters(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let behind = behind.trim_start();
        let (value, left) = match behind.strip_prefix('"') {
            Some(quoted) => {
                let (mut value, mut escaped, mut end) = (String::new(), false, quoted.len());
                for (at, c) in quoted.char_indices() {
                    match c {
                        _ if escaped => {
                            value.push(c);
                            escaped = false;
                        }
                        '\\' => escaped = true,
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        _ => value.push(c),
                    }
                }
                (value, quoted.get(end..).unwrap_or_default())
            }
            None => {
                let (value, left) = behind.split_once(',').unwrap_or((behind, ""));
                (value.trim().to_string(), left)
            }
        };
        all.push((name, value));
        rest = left;
    }
    all
}
