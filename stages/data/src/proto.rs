//! The protobuf wire format, as much of it as `tf.train.Example` and TensorBoard's `Event` need.
//! Reading borrows from the input and allocates nothing, so a scan for labels never copies an image.

/// A message that is no valid protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends inside a field.
    #[error("a field is cut off")]
    Cut,
    /// A number has more than 64 bits.
    #[error("a number is too long")]
    Varint,
    /// A field of a wire type that protobuf does not use any more.
    #[error("a field has the unknown wire type {0}")]
    WireType(u8),
}

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// int32, int64, uint64, bool, enum.
    Varint(u64),
    /// fixed64, double.
    Fixed64(u64),
    /// bytes, string, message, packed list.
    Bytes(&'a [u8]),
    /// fixed32, float.
    Fixed32(u32),
}

/// The fields of a message, in the order in which they stand there.
#[derive(Clone, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = varint(&mut self.0)?;
        let value = match (tag & 7) as u8 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = varint(&mut self.0)?;
                let length = usize::try_from(length).map_err(|_| Malformed::Cut)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed::Cut)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(Malformed::WireType(other)),
        };
        Ok((tag >> 3, value))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(*bytes)
    }
}

/// Takes one varint off the front of `bytes`.
pub fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Malformed::Cut)?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            return Err(Malformed::Varint);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed::Varint)
}

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a varint field.
pub fn put_int(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

/// Appends a field of bytes, text or a message.
pub fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a double.
pub fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a float.
pub fn put_float(out: &mut Vec<u8>, field: u64, value: f32) {
    put_varint(out, field << 3 | 5);
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_put_is_read_back() {
        let mut out = Vec::new();
        put_int(&mut out, 1, u64::MAX);
        put_bytes(&mut out, 2, b"abc");
        put_double(&mut out, 3, -0.5);
        put_float(&mut out, 4000, 2.5);
        let fields: Result<Vec<_>, _> = Fields(&out).collect();
        let expected = [
            (1, Value::Varint(u64::MAX)),
            (2, Value::Bytes(b"abc")),
            (3, Value::Fixed64((-0.5f64).to_bits())),
            (4000, Value::Fixed32(2.5f32.to_bits())),
        ];
        assert_eq!(fields.unwrap(), expected);
    }

    #[test]
    fn broken_messages_are_refused() {
        let read = |bytes: &[u8]| Fields(bytes).collect::<Result<Vec<_>, _>>().unwrap_err();
        assert_eq!(read(&[0x0a, 5, 1]), Malformed::Cut);
        assert_eq!(
            read(&[
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1
            ]),
            Malformed::Cut
        );
        assert_eq!(read(&[0xff; 11]), Malformed::Varint);
        assert_eq!(read(&[0x0b]), Malformed::WireType(3));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Fields(&bytes).count();
        }
    }
}
