//! From the `.proto` files' marks to what decides about a call: what it needs, and which galleries it names.

use protox::prost_reflect::{
    DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

/// Rust code with what every method needs, and with the galleries and images in every request.
///
/// # Errors
/// A method that does not say what it needs, and a mark where it cannot be followed.
pub(crate) fn guards(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let marks = Marks {
        needs: extension(pool, "descry.access.v1.needs")?,
        names_gallery: extension(pool, "descry.access.v1.names_gallery")?,
        also_needs: extension(pool, "descry.access.v1.also_needs")?,
        decided_by_item: extension(pool, "descry.access.v1.decided_by_item")?,
        brings_images: extension(pool, "descry.access.v1.brings_images")?,
    };
    let mut code = "use ::descry_trust::{Guarded, NamesGalleries, Needs, Verb};\n".to_owned();
    let (mut guarded, mut naming) = (BTreeMap::new(), BTreeMap::new());
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let (input, needs) = (method.input(), marks.needs_of(&method)?);
        naming.insert(input.full_name().to_owned(), input.clone());
        for field in input.fields() {
            marks.reach(&field, &mut naming);
        }
        if guarded.insert(input.full_name().to_owned(), needs).is_some() {
            return Err(format!("{} begins two methods; each needs a request of its own", input.full_name()).into());
        }
        let is_list = input.fields().any(|field| marks.has(&marks.decided_by_item, &field));
        let by_item = if is_list { " const BY_ITEM: bool = true;" } else { "" };
        writeln!(code, "impl Guarded for {} {{ const NEEDS: Needs = {needs};{by_item} }}", path(&input)?)?;
    }
    for message in naming.values() {
        write_galleries(&mut code, message, &marks)?;
    }
    Ok(code)
}

struct Marks {
    needs: ExtensionDescriptor,
    names_gallery: ExtensionDescriptor,
    also_needs: ExtensionDescriptor,
    decided_by_item: ExtensionDescriptor,
    brings_images: ExtensionDescriptor,
}

fn extension(pool: &DescriptorPool, name: &str) -> Result<ExtensionDescriptor, String> {
    pool.get_extension_by_name(name).ok_or_else(|| format!("{name} is not imported"))
}

/// The name of an enumeration's value.
fn name_of(value: &Value, extension: &ExtensionDescriptor) -> Option<String> {
    let Kind::Enum(values) = extension.kind() else { return None };
    Some(values.get_value(value.as_enum_number()?)?.name().to_owned())
}

impl Marks {
    fn needs_of(&self, method: &MethodDescriptor) -> Result<&'static str, String> {
        let options = method.options();
        let name = options
            .has_extension(&self.needs)
            .then(|| name_of(&options.get_extension(&self.needs), &self.needs))
            .flatten();
        Ok(match name.as_deref() {
            Some("SEARCH") => "Needs::Gallery(Verb::Search)",
            Some("INDEX") => "Needs::Gallery(Verb::Index)",
            Some("MANAGE") => "Needs::Gallery(Verb::Manage)",
            Some("SIGHT") => "Needs::Sight",
            Some("ANYTHING") => "Needs::Anything",
            Some("ENCODE") => "Needs::Encode",
            Some("AUDIT") => "Needs::Audit",
            Some("ADMIN") => "Needs::Admin",
            Some("CREATE") => "Needs::Create",
            Some(_) | None => {
                return Err(format!("{} has no option (descry.access.v1.needs)", method.full_name()));
            }
        })
    }

    fn has(&self, mark: &ExtensionDescriptor, field: &FieldDescriptor) -> bool {
        field.options().get_extension(mark).as_bool() == Some(true)
    }

    /// Notes the messages in a field, and what is in them.
    fn reach(&self, field: &FieldDescriptor, naming: &mut BTreeMap<String, MessageDescriptor>) {
        if let Kind::Message(inner) = field.kind()
            && inner.package_name().starts_with("descry.")
            && !inner.is_map_entry()
            && naming.insert(inner.full_name().to_owned(), inner.clone()).is_none()
        {
            inner.fields().for_each(|field| self.reach(&field, naming));
        }
    }

    /// Whether the message, or one within it, is marked anywhere.
    fn concern(&self, message: &MessageDescriptor) -> bool {
        let mut within = BTreeMap::from([(message.full_name().to_owned(), message.clone())]);
        message.fields().for_each(|field| self.reach(&field, &mut within));
        within.values().flat_map(MessageDescriptor::fields).any(|field| self.has(&self.names_gallery, &field))
    }
}

fn write_galleries(code: &mut String, message: &MessageDescriptor, marks: &Marks) -> Result<(), Box<dyn Error>> {
    let (mut visits, mut images) = (String::new(), Vec::new());
    let also = also_needed(message, marks)?;
    for field in message.fields() {
        let name = field.name();
        let is_named = marks.has(&marks.names_gallery, &field);
        if is_named {
            match (field.kind(), field.is_list(), field.containing_oneof().is_some()) {
                (Kind::String, false, false) => writeln!(visits, "visit(&self.{name}, {also});")?,
                (Kind::String, true, false) => {
                    writeln!(visits, "self.{name}.iter().for_each(|gallery| visit(gallery, {also}));")?;
                }
                _ => return Err(format!("{} cannot name a gallery: it is no plain text", field.full_name()).into()),
            }
        }
        if marks.has(&marks.brings_images, &field) {
            images.push(match (one_of(&field)?, field.is_list(), field.kind()) {
                (Some(variant), _, _) => format!("usize::from(matches!(&self.{}, Some({}(_))))", variant.0, variant.1),
                (None, true, _) => format!("self.{name}.len()"),
                (None, false, Kind::Bytes) => "1".to_owned(),
                (None, false, _) => format!("usize::from(self.{name}.is_some())"),
            });
        }
        let Kind::Message(inner) = field.kind() else { continue };
        if marks.has(&marks.decided_by_item, &field) || inner.is_map_entry() || !marks.concern(&inner) {
            continue;
        }
        match (one_of(&field)?, field.is_list()) {
            (Some((one_of, variant)), _) => {
                writeln!(visits, "if let Some({variant}(inner)) = &self.{one_of} {{ inner.visit_galleries(visit); }}")?;
            }
            (None, true) => writeln!(visits, "self.{name}.iter().for_each(|inner| inner.visit_galleries(visit));")?,
            (None, false) => {
                writeln!(visits, "if let Some(inner) = &self.{name} {{ inner.visit_galleries(visit); }}")?;
            }
        }
    }
    let argument = if visits.is_empty() { "_" } else { "visit" };
    writeln!(code, "impl NamesGalleries for {} {{", path(message)?)?;
    writeln!(
        code,
        "fn visit_galleries<'message>(&'message self, {argument}: &mut dyn FnMut(&'message str, Option<Verb>)) {{"
    )?;
    writeln!(code, "{visits}}}")?;
    if !images.is_empty() {
        writeln!(code, "fn images(&self) -> usize {{ {} }}", images.join(" + "))?;
    }
    writeln!(code, "}}")?;
    Ok(())
}

/// What the galleries of this message need besides: an expression of the type `Option<Verb>`.
fn also_needed(message: &MessageDescriptor, marks: &Marks) -> Result<String, Box<dyn Error>> {
    let mut also: Option<(&str, Vec<String>)> = None;
    for field in message.fields() {
        let options = field.options();
        if !options.has_extension(&marks.also_needs) {
            continue;
        }
        let verb = match name_of(&options.get_extension(&marks.also_needs), &marks.also_needs).as_deref() {
            Some("SEARCH") => "Verb::Search",
            Some("INDEX") => "Verb::Index",
            Some("MANAGE") => "Verb::Manage",
            Some(_) | None => return Err(format!("{}: only a verb may be needed besides", field.full_name()).into()),
        };
        let (needed, fields) = also.get_or_insert_with(|| (verb, Vec::new()));
        if field.kind() != Kind::Bool || field.is_list() || *needed != verb {
            let reason = "only truth values may need more, all of a message the same";
            return Err(format!("{}: {reason}", field.full_name()).into());
        }
        fields.push(format!("self.{}", field.name()));
    }
    Ok(match also {
        None => "None".to_owned(),
        Some((verb, fields)) if fields.len() == 1 => format!("{}.then_some({verb})", fields.concat()),
        Some((verb, fields)) => format!("({}).then_some({verb})", fields.join(" || ")),
    })
}

/// Of a field that excludes others: the field that holds them all, and the path of this one's variant.
fn one_of(field: &FieldDescriptor) -> Result<Option<(String, String)>, String> {
    let Some(one_of) = field.containing_oneof().filter(|one_of| !one_of.is_synthetic()) else { return Ok(None) };
    let parent = field.parent_message();
    let module = format!("{}::{}", module_of(parent)?, snake_case(parent.name()));
    let variant = format!("{module}::{}::{}", camel_case(one_of.name()), camel_case(field.name()));
    Ok(Some((one_of.name().to_owned(), variant)))
}

/// The message's Rust type, as prost names it.
fn path(message: &MessageDescriptor) -> Result<String, String> {
    Ok(format!("{}::{}", module_of(message)?, message.name()))
}

fn module_of(message: &MessageDescriptor) -> Result<String, String> {
    if let Some(parent) = message.parent_message() {
        return Ok(format!("{}::{}", module_of(&parent)?, snake_case(parent.name())));
    }
    let package = message.package_name().strip_prefix("descry.");
    let package = package.ok_or_else(|| format!("{} is not ours", message.full_name()))?;
    Ok(format!("crate::{}", package.replace('.', "::")))
}

fn snake_case(name: &str) -> String {
    name.char_indices().fold(String::new(), |mut snake, (index, letter)| {
        if letter.is_ascii_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
        snake
    })
}

fn camel_case(name: &str) -> String {
    let word =
        |word: &str| word.get(..1).map(str::to_ascii_uppercase).unwrap_or_default() + word.get(1..).unwrap_or_default();
    name.split('_').map(word).collect()
}
