//! Names of methods on the command line, in settings files and in reports.

use super::Method;
use crate::TrainError;
use std::fmt;
use std::str::FromStr;

impl Method {
    /// Every method, for help texts.
    pub const ALL: [Self; 3] = [Self::Clip, Self::DmAdapter, Self::UpPerson];

    /// Name on the command line and in settings files; [`FromStr`] reads it back.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::DmAdapter => "dm-adapter",
            Self::UpPerson => "up-person",
        }
    }

    /// The only method that a setting has an effect for, such as [`Method::UpPerson`] for `up_person.rank`; `None` for
    /// what concerns others as well, and for names that no setting has.
    pub fn of_setting(name: &str) -> Option<Self> {
        match name.split_once('.').unwrap_or((name, "")) {
            ("dm_adapter", _) | ("loss", "balancing_weight" | "balance_padding") => Some(Self::DmAdapter),
            ("up_person", _) => Some(Self::UpPerson),
            _ => None,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|method| method.name() == text);
        found.ok_or_else(|| unknown("method", text, &Self::ALL.map(Self::name)))
    }
}

/// A name that is none of the known ones.
pub(super) fn unknown(setting: &str, text: &str, known: &[&str]) -> TrainError {
    let given: String = text.chars().take(40).collect();
    TrainError::Setting { name: setting.to_owned(), reason: format!("is {given:?}, expected {}", known.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for method in Method::ALL {
            assert_eq!(method.to_string().parse::<Method>().unwrap(), method);
            assert_eq!(serde_json::to_string(&method).unwrap(), format!("\"{method}\""));
        }
        let message = "DM-Adapter".parse::<Method>().unwrap_err().to_string();
        assert!(message.contains("clip, dm-adapter, up-person"), "{message}");
    }

    #[test]
    fn settings_of_one_method_are_known() {
        let recipe = crate::Recipe::published(Method::Clip, descry_evaluation::DatasetLayout::CuhkPedes);
        let recipe = serde_json::to_value(recipe).unwrap();
        let mut of_one = Vec::new();
        for (section, value) in recipe.as_object().unwrap() {
            for key in value.as_object().into_iter().flat_map(|entries| entries.keys()) {
                let name = format!("{section}.{key}");
                of_one.extend(Method::of_setting(&name).map(|method| format!("{method} {name}")));
            }
        }
        assert_eq!(of_one.iter().filter(|name| name.starts_with("dm-adapter dm_adapter.")).count(), 4);
        assert_eq!(of_one.iter().filter(|name| name.starts_with("dm-adapter loss.balanc")).count(), 2);
        assert_eq!(of_one.iter().filter(|name| name.starts_with("up-person up_person.")).count(), 7);
        assert_eq!(of_one.len(), 13);
        assert_eq!(Method::of_setting("up_person"), Some(Method::UpPerson));
        assert_eq!(Method::of_setting("epochs"), None);
    }
}
