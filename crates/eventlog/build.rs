//! Packs the OpenAPI document.

#[path = "../web/pack.rs"]
mod pack;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    pack::pack("../../docs/openapi/eventlog.json")
}
