//! Compiles the `.proto` files with protox, so that no `protoc` needs to be installed.

use prost::Message as _;
use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

#[expect(clippy::disallowed_methods, reason = "Cargo tells a build script its output folder this way only")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=descry");
    let files = ["descry/encoder/v1/encoder.proto", "descry/search/v1/search.proto"];
    let descriptors = protox::compile(files, ["."])?;
    let output = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(output.join("descry_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
