//! The bytes of a pickle and how far they are read.

use super::opcode as op;
use super::values::PickleFault;

/// Reads forward only, and never beyond the end.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn fault(&self, reason: impl Into<String>) -> PickleFault {
        PickleFault::Damaged { offset: self.position, reason: reason.into() }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], PickleFault> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(taken) = rest.get(..count) else {
            return Err(self.fault("the pickle ends early"));
        };
        self.position += count;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleFault> {
        self.take(1).map(|bytes| bytes.first().copied().unwrap_or_default())
    }

    /// A little-endian unsigned integer of up to eight bytes.
    pub(super) fn unsigned(&mut self, count: usize) -> Result<u64, PickleFault> {
        Ok(self.take(count)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// The bytes after a length of as many bytes as the opcode says.
    pub(super) fn counted(&mut self, opcode: u8) -> Result<&'a [u8], PickleFault> {
        let length_bytes = match opcode {
            op::SHORT_BINUNICODE | op::SHORT_BINSTRING | op::SHORT_BINBYTES | op::LONG1 => 1,
            op::BINUNICODE8 | op::BINBYTES8 | op::BYTEARRAY8 => 8,
            _ => 4,
        };
        let length = self.unsigned(length_bytes)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    pub(super) fn line(&mut self) -> Result<&'a str, PickleFault> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(self.fault("the pickle ends early"));
        };
        let line = self.take(length)?;
        self.position += 1;
        str::from_utf8(line).map_err(|_| self.fault("a name that is not UTF-8"))
    }
}
