//! Protocol buffers, as much as is needed: fields of numbers and of bytes (protobuf.dev "Encoding").

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn number(mut self, field: u32, value: u64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    pub(super) fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

/// The fields of a message that came, the last of each number. What is not understood ends the reading.
#[derive(Debug, Default)]
pub(super) struct Fields<'a>(Vec<(u64, Value<'a>)>);

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    pub(super) fn of(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while let Some((field, value)) = take_field(&mut bytes) {
            fields.push((field, value));
        }
        Self(fields)
    }

    fn get(&self, field: u64) -> Option<Value<'a>> {
        self.0.iter().rev().find(|(number, _)| *number == field).map(|(_, value)| *value)
    }

    pub(super) fn number(&self, field: u64) -> u64 {
        match self.get(field) {
            Some(Value::Number(number)) => number,
            _ => 0,
        }
    }

    pub(super) fn bytes(&self, field: u64) -> &'a [u8] {
        match self.get(field) {
            Some(Value::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    pub(super) fn text(&self, field: u64) -> String {
        String::from_utf8_lossy(self.bytes(field)).into_owned()
    }
}

fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = take_varint(bytes)?;
    let value = match key & 7 {
        0 => Value::Number(take_varint(bytes)?),
        1 => Value::Bytes(take(bytes, 8)?),
        2 => {
            let length = usize::try_from(take_varint(bytes)?).ok()?;
            Value::Bytes(take(bytes, length)?)
        }
        5 => Value::Bytes(take(bytes, 4)?),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let inner = Message::new().text(1, "name");
        let message = Message::new().number(2, 2047).bytes(3, &inner.0).number(4, u64::MAX).text(5, "");
        let fields = Fields::of(&message.0);
        assert_eq!((fields.number(2), fields.number(4), fields.number(9)), (2047, u64::MAX, 0));
        assert_eq!(Fields::of(fields.bytes(3)).text(1), "name");
        assert_eq!(fields.text(5), "");
    }

    #[test]
    fn a_message_that_breaks_off_has_the_fields_before() {
        let message = Message::new().number(1, 7).text(2, "text");
        let fields = Fields::of(&message.0[..message.0.len() - 1]);
        assert_eq!((fields.number(1), fields.text(2).as_str()), (7, ""));
    }
}
