//! Base64, as far as is needed to look into it.

/// The bytes of a text in either alphabet, up to the first character that is in none.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().map_while(digit).collect();
    let mut bytes = Vec::with_capacity(digits.len());
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0_u32, |bits, digit| (bits << 6) | u32::from(*digit));
        let missing = 4 - group.len().min(4);
        let bits = bits << (6 * missing);
        let [_, first, second, third] = bits.to_be_bytes();
        bytes.extend([first, second, third].iter().take(3 - missing.min(3)));
    }
    bytes
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_and_any_length() {
        assert_eq!(decode("LS0tLS1CRUdJTiA"), b"-----BEGIN ");
        assert_eq!(decode("aGk="), b"hi");
        assert_eq!(decode("-_-_"), decode("+/+/"));
        assert_eq!(decode(""), b"");
        assert_eq!(decode("A"), b"");
    }
}
