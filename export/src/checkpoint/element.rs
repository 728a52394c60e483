//! Element types of checkpoint tensors, and their conversion to float32.

use half::{bf16, f16};
use std::fmt;

/// How a checkpoint stores the numbers of a tensor. All are converted to float32 when read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// 8 bytes; rounded when read.
    Float64,
    /// 4 bytes.
    Float32,
    /// 2 bytes, IEEE half precision.
    Float16,
    /// 2 bytes, the upper half of a float32.
    BFloat16,
}

impl ElementType {
    /// Little-endian numbers to float32. Bytes after the last whole number are ignored.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Float64 => bytes.as_chunks().0.iter().map(|&chunk| f64::from_le_bytes(chunk) as f32).collect(),
            Self::Float32 => bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect(),
            Self::Float16 => bytes.as_chunks().0.iter().map(|&chunk| f16::from_le_bytes(chunk).to_f32()).collect(),
            Self::BFloat16 => bytes.as_chunks().0.iter().map(|&chunk| bf16::from_le_bytes(chunk).to_f32()).collect(),
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Float64 => "float64",
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_decodes_the_same_numbers() {
        let numbers = [0.0f32, -1.5, 2.0, 0.15625];
        let cases: [(ElementType, Vec<u8>); 4] = [
            (ElementType::Float64, numbers.iter().flat_map(|&number| f64::from(number).to_le_bytes()).collect()),
            (ElementType::Float32, numbers.iter().flat_map(|number| number.to_le_bytes()).collect()),
            (ElementType::Float16, numbers.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()).collect()),
            (ElementType::BFloat16, numbers.iter().flat_map(|&number| bf16::from_f32(number).to_le_bytes()).collect()),
        ];
        for (element, bytes) in cases {
            assert_eq!(element.decode(&bytes), numbers, "{element}");
        }
    }
}
