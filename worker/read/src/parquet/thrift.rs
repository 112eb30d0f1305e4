//! Thrift's compact protocol (thrift-compact-protocol.md of Apache Thrift), as far as Parquet needs it.

/// Bytes, and how many of them have been read.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Thrift<'a> {
    pub(super) const I32: u8 = 5;
    pub(super) const LIST: u8 = 9;
    pub(super) const STRUCT: u8 = 12;
    /// Structs and lists in each other.
    pub(super) const DEPTH: u32 = 16;

    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Number and type of the next field of a struct, behind the one of number `before`. `Some(None)`: its end.
    #[expect(clippy::option_option, reason = "no field, and no struct")]
    pub(super) fn field(&mut self, before: i64) -> Option<Option<(i64, u8)>> {
        let byte = self.byte()?;
        let kind = byte & 0x0f;
        // Only the type says the end.
        if kind == 0 {
            return Some(None);
        }
        let id = if byte >> 4 == 0 { self.zigzag()? } else { before.wrapping_add(i64::from(byte >> 4)) };
        Some(Some((id, kind)))
    }

    /// How many elements a list has, and of which type. None has more of them than bytes are left.
    pub(super) fn list(&mut self) -> Option<(usize, u8)> {
        let about = self.byte()?;
        let many = if about >> 4 == 15 { self.varint()? } else { u64::from(about >> 4) };
        let many = usize::try_from(many).ok()?;
        (many <= self.bytes.len().saturating_sub(self.at)).then_some((many, about & 0x0f))
    }

    /// The first field of a struct, when it is a number of 32 bits.
    pub(super) fn first_number(&mut self) -> Option<i64> {
        match self.field(0)?? {
            (1, Self::I32) => self.zigzag(),
            _ => None,
        }
    }

    pub(super) fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // A field that is true or false has no more bytes.
            1 | 2 => {}
            3 => self.at += 1,
            4..=6 => drop(self.varint()?),
            7 => self.at += 8,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.at = self.at.checked_add(length)?;
            }
            Self::LIST | 10 => {
                let (many, kind) = self.list()?;
                for _ in 0..many {
                    // In a list they have one.
                    let kind = if matches!(kind, 1 | 2) { 3 } else { kind };
                    self.skip(kind, depth)?;
                    self.bytes.get(..self.at)?;
                }
            }
            Self::STRUCT => {
                let mut id = 0;
                while let Some((field, kind)) = self.field(id)? {
                    self.skip(kind, depth)?;
                    id = field;
                }
            }
            // Parquet has no maps.
            _ => return None,
        }
        (self.at <= self.bytes.len()).then_some(())
    }
}
