//! Lower-case hex without separators.

/// Bytes as text.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    encode_into(bytes, &mut text).unwrap_or_default().to_owned()
}

/// Bytes as text in twice as many bytes; `None` if it is not as many.
pub fn encode_into<'a>(bytes: &[u8], text: &'a mut [u8]) -> Option<&'a str> {
    if text.len() != bytes.len() * 2 {
        return None;
    }
    for (pair, byte) in text.chunks_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    std::str::from_utf8(text).ok()
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

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
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
        assert_eq!(encode_into(&[0, 0xaf], &mut [0; 3]), None);
        for bad in ["", "0", "0g", "AB", "000"] {
            assert_eq!(decode::<1>(bad), None, "{bad}");
        }
    }
}
