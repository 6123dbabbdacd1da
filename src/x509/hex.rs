//! Lower-case hex without separators.

/// Bytes as text.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

/// Text as just so many bytes.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (into, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *into = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

fn digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 })
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let bytes: [u8; 256] = std::array::from_fn(|n| u8::try_from(n).unwrap_or(0));
        assert_eq!(decode(&encode(&bytes)), Some(bytes));
        assert_eq!(encode(&[0, 0xaf]), "00af");
        for bad in ["", "0", "0g", "AB", "000"] {
            assert_eq!(decode::<1>(bad), None, "{bad}");
        }
    }
}
