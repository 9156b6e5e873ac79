//! Packs the OpenAPI documents.

#[path = "../web/pack.rs"]
mod pack;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    pack::pack("../../docs/openapi/users.json")?;
    pack::pack("../../docs/openapi/orders.json")
}
