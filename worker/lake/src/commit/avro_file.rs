//! Avro files as bytes: as much of the format as copying records takes.
//!
//! The format is that of <https://avro.apache.org/docs/1.12.0/specification/#object-container-files>. Every read is `None`
//! for what ends too early or cannot be.

/// An Avro file whose records are not compressed.
pub(super) struct AvroFile<'a> {
    /// Everything before the first block.
    pub(super) header: &'a [u8],
    /// The schema, as text.
    pub(super) schema: &'a [u8],
    /// What stands behind the header and each block.
    pub(super) sync: &'a [u8],
    /// The blocks, each with the number of its records.
    pub(super) blocks: Vec<(u64, Cursor<'a>)>,
}

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;
/// What `apache-avro` makes of a block, too.
const BLOCK_BYTES: usize = 16_000;

impl<'a> AvroFile<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor { bytes, at: 0 };
        if cursor.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let (mut schema, mut codec) = (None, &b"null"[..]);
        let take_value = |cursor: &mut Cursor<'a>| {
            match (cursor.text()?, cursor.bytes()?) {
                ("avro.schema", value) => schema = Some(value),
                ("avro.codec", value) => codec = value,
                _ => {}
            }
            Some(())
        };
        cursor.items(take_value)?;
        let sync = cursor.take(SYNC_BYTES)?;
        let header = &bytes[..cursor.at];
        let mut blocks = Vec::new();
        while cursor.at < bytes.len() {
            let count = u64::try_from(cursor.long()?).ok()?;
            let block = cursor.bytes()?;
            blocks.push((count, Cursor { bytes: &bytes[..cursor.at], at: cursor.at - block.len() }));
            if cursor.take(SYNC_BYTES)? != sync {
                return None;
            }
        }
        (codec == b"null").then_some(Self { header, schema: schema?, sync, blocks })
    }
}

/// A place in the bytes of a file.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// How many bytes of the file are before it.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(taken)
    }

    pub(super) fn int(&mut self) -> Option<i32> {
        i32::try_from(self.long()?).ok()
    }

    pub(super) fn long(&mut self) -> Option<i64> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        None
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        self.take(length)
    }

    pub(super) fn boolean(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// Reads a union of null and something else.
    pub(super) fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<()> {
        match self.long()? {
            0 => Some(()),
            1 => read(self).map(drop),
            _ => None,
        }
    }

    /// Reads each item of an array, or each pair of a map.
    pub(super) fn items(&mut self, mut read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Some(());
            }
            if count < 0 {
                // Its size, for those who would skip it.
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                read(self)?;
            }
        }
    }
}

/// Writes records behind a header, in blocks.
pub(super) fn with_records<'r>(header: &[u8], sync: &[u8], records: impl Iterator<Item = &'r [u8]>) -> Vec<u8> {
    let mut file = header.to_vec();
    let mut block = Vec::with_capacity(BLOCK_BYTES * 2);
    let mut count = 0;
    let mut close = |block: &mut Vec<u8>, count: &mut u64| {
        if *count > 0 {
            put_long(*count, &mut file);
            put_long(block.len() as u64, &mut file);
            file.extend_from_slice(block);
            file.extend_from_slice(sync);
        }
        block.clear();
        *count = 0;
    };
    for record in records {
        block.extend_from_slice(record);
        count += 1;
        if block.len() >= BLOCK_BYTES {
            close(&mut block, &mut count);
        }
    }
    close(&mut block, &mut count);
    file
}

// Of numbers that are not negative.
fn put_long(value: u64, out: &mut Vec<u8>) {
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
