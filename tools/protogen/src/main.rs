//! Generates the Rust side of `proto/moulin/v1`.
//!
//! Usage: `protogen PROTO_DIR OUT_DIR`. Writes `moulin.v1.rs` and the descriptor set that gRPC reflection serves.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(proto), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: protogen PROTO_DIR OUT_DIR".into());
    };
    let mut files: Vec<_> = fs::read_dir(Path::new(&proto).join("moulin/v1"))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let descriptors = protox::compile(&files, [&proto])?;
    fs::create_dir_all(&out)?;
    fs::write(Path::new(&out).join("moulin.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().out_dir(&out).compile_fds(descriptors)?;
    Ok(())
}
