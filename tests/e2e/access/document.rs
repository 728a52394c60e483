//! docs/ACCESS.md, held against what is.

use prost_reflect::{DescriptorPool, Kind};
use std::path::Path;

#[test]
fn the_table_of_methods_is_that_of_the_proto_files() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ACCESS.md");
    let document = std::fs::read_to_string(document).unwrap();
    let pool = DescriptorPool::decode(descry_proto::DESCRIPTOR_SET).unwrap();
    let needs = pool.get_extension_by_name("descry.access.v1.needs").unwrap();
    let Kind::Enum(values) = needs.kind() else { panic!() };
    let mut expected = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let number = method.options().get_extension(&needs).as_enum_number().unwrap();
        let needed = match values.get_value(number).unwrap().name() {
            "SIGHT" => "any of the gallery".to_owned(),
            "ANYTHING" => "any".to_owned(),
            "CREATE" => "`manage:GALLERY`".to_owned(),
            name @ ("SEARCH" | "INDEX" | "MANAGE") => format!("`{}:GALLERY`", name.to_lowercase()),
            name => format!("`{}`", name.to_lowercase()),
        };
        expected.push(format!("| {} | {needed} |", method.name()));
    }
    let (_, table) = document.split_once("| call | scope |\n|---|---|\n").unwrap();
    let found: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(found, expected, "docs/ACCESS.md should have:\n{}", expected.join("\n"));
}
