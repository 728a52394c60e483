//! Compiles the `.proto` files with protox, so that no `protoc` needs to be installed, and writes down what each request
//! may hold, and what its caller must be allowed.

mod build_access;
mod build_shapes;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

#[expect(clippy::disallowed_methods, reason = "Cargo tells a build script its output folder this way only")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=descry");
    println!("cargo:rerun-if-changed=build_shapes.rs");
    println!("cargo:rerun-if-changed=build_access.rs");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(["descry/encoder/v1/encoder.proto", "descry/search/v1/search.proto"])?;
    let output = PathBuf::from(env::var("OUT_DIR")?);
    // With the limits, which the set of plain messages leaves out.
    fs::write(output.join("descry_descriptor.bin"), compiler.encode_file_descriptor_set())?;
    fs::write(output.join("descry_shapes.rs"), build_shapes::shapes(&compiler.descriptor_pool())?)?;
    fs::write(output.join("descry_access.rs"), build_access::guards(&compiler.descriptor_pool())?)?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("::descry_wire::CheckedCodec")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
