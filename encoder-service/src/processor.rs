//! What the processor can and cannot do.

/// Whether the processor multiplies and adds 8-bit numbers in 32 bits.
///
/// Without such instructions (VNNI on x86-64), kernels add pairs of products in 16 bits, where large ones saturate:
/// int8 towers run, but their embeddings are further from float32.
pub fn has_exact_int8_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512vnni") || std::arch::is_x86_feature_detected!("avxvnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        true
    }
}
