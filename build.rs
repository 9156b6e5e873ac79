//! Packs the OpenAPI document, and the files of the live page.

#[path = "crates/web/pack.rs"]
mod pack;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    pack::pack("docs/openapi/activity.json")?;
    pack::pack("src/activity/console")
}
