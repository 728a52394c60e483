//! The one part of ICU4X that plsfix uses, under the names by which it asks for it.
#![no_std]

extern crate alloc;

/// Unicode's normalisation forms.
pub mod normalizer {
    use alloc::string::String;
    use unicode_normalization::UnicodeNormalization as _;

    /// Composes what it takes apart.
    pub struct ComposingNormalizer {
        is_compatible: bool,
    }

    impl ComposingNormalizer {
        /// NFC.
        pub const fn new_nfc() -> Self {
            Self { is_compatible: false }
        }

        /// NFKC, which also replaces what only looks different.
        pub const fn new_nfkc() -> Self {
            Self { is_compatible: true }
        }

        /// The text in this form.
        pub fn normalize(&self, text: &str) -> String {
            if self.is_compatible { text.nfkc().collect() } else { text.nfc().collect() }
        }
    }

    /// Takes apart and leaves it so.
    pub struct DecomposingNormalizer {
        is_compatible: bool,
    }

    impl DecomposingNormalizer {
        /// NFD.
        pub const fn new_nfd() -> Self {
            Self { is_compatible: false }
        }

        /// NFKD, which also replaces what only looks different.
        pub const fn new_nfkd() -> Self {
            Self { is_compatible: true }
        }

        /// The text in this form.
        pub fn normalize(&self, text: &str) -> String {
            if self.is_compatible { text.nfkd().collect() } else { text.nfd().collect() }
        }
    }
}
