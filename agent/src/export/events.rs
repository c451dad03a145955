//! TensorBoard's event files: records of the TFRecord format, each of which holds one `Event` message of TensorFlow's protocol buffers.
//!
//! The little that scalars need is written by hand: <https://www.tensorflow.org/tutorials/load_data/tfrecord> (framing and masked CRC-32C)
//! and `tensorflow/core/util/event.proto`, `tensorflow/core/framework/summary.proto` (fields 1, 2, 3 and 5 of `Event`, 1 of `Summary`, 1 and 2
//! of `Summary.Value`).

use crc::{CRC_32_ISCSI, Crc};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The version that readers look for in the first event.
const VERSION: &str = "brain.Event:2";

/// An event file as it grows.
#[derive(Debug, Default)]
pub(super) struct Events {
    bytes: Vec<u8>,
}

impl Events {
    /// A file that begins at this time, in seconds since 1970.
    pub fn new(seconds: f64) -> Self {
        let mut events = Self::default();
        let mut event = double(1, seconds);
        event.extend(bytes(3, VERSION.as_bytes()));
        events.record(&event);
        events
    }

    /// A scalar at a step. `tag` is its name; a slash in it makes a group.
    pub fn scalar(&mut self, seconds: f64, step: u64, tag: &str, value: f64) {
        let mut scalar = bytes(1, tag.as_bytes());
        scalar.extend(float(2, value as f32));
        let mut event = double(1, seconds);
        event.extend(varint_field(2, step));
        event.extend(bytes(5, &bytes(1, &scalar)));
        self.record(&event);
    }

    /// The file's content.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn record(&mut self, data: &[u8]) {
        let length = (data.len() as u64).to_le_bytes();
        self.bytes.extend_from_slice(&length);
        self.bytes.extend_from_slice(&masked(&length).to_le_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.extend_from_slice(&masked(data).to_le_bytes());
    }
}

/// A checksum of data that may hold checksums itself is rotated and shifted.
fn masked(data: &[u8]) -> u32 {
    CRC.checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn key(field: u64, kind: u64) -> Vec<u8> {
    varint(field << 3 | kind)
}

fn varint_field(field: u64, value: u64) -> Vec<u8> {
    [key(field, 0), varint(value)].concat()
}

fn double(field: u64, value: f64) -> Vec<u8> {
    [key(field, 1), value.to_le_bytes().to_vec()].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [key(field, 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn float(field: u64, value: f32) -> Vec<u8> {
    [key(field, 5), value.to_le_bytes().to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_known_ones() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(CRC.checksum(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn numbers_are_those_of_protocol_buffers() {
        // <https://protobuf.dev/programming-guides/encoding/>: field 1 with 150, field 2 with "testing".
        assert_eq!(varint_field(1, 150), [0x08, 0x96, 0x01]);
        assert_eq!(bytes(2, b"testing"), [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
        assert_eq!(varint(u64::MAX).len(), 10);
    }

    /// Worked out apart from this program, bit by bit: a length of 24 with its masked checksum, the event, and the event's.
    const FIRST: &str = "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c";

    #[test]
    fn the_first_record_is_what_readers_of_the_format_expect() {
        assert_eq!(hex::encode(Events::new(1.5).into_bytes()), FIRST);
    }

    #[test]
    fn a_file_is_a_version_and_then_scalars() {
        let mut events = Events::new(1.5);
        events.scalar(2.0, 7, "loss/train", 3.25);
        let bytes = events.into_bytes();
        let first = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(&bytes[12 + 9..12 + first], [b"\x1a\x0d".as_slice(), VERSION.as_bytes()].concat());
        let second = &bytes[12 + first + 4..];
        let length = u64::from_le_bytes(second[..8].try_into().unwrap()) as usize;
        assert_eq!(second.len(), 8 + 4 + length + 4);
        let event = &second[12..12 + length];
        assert_eq!(event[9..11], [0x10, 7]);
        assert!(event.ends_with(&3.25_f32.to_le_bytes()));
        assert_eq!(second[12 + length..], masked(event).to_le_bytes());
    }
}
