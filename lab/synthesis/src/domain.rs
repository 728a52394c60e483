//! Which world the cameras of a data set stand in.

use crate::SynthesisError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A world: its places, cameras, light, and what people wear there. A model that was trained in one and is measured in
/// another meets a domain shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Domain {
    /// Everyday cameras in streets, parks and stations, by day.
    #[default]
    Street,
    /// Indoor cameras under the ceiling of shops, corridors and halls.
    Mall,
    /// Streets and car parks by night; some cameras see infrared light only, in shades of gray.
    Night,
    /// A camera high above squares, roads and lawns in summer.
    Drone,
}

impl Domain {
    /// Every domain, for help texts.
    pub const ALL: [Self; 4] = [Self::Street, Self::Mall, Self::Night, Self::Drone];

    /// Name on the command line; [`FromStr`] reads it back.
    pub fn name(self) -> &'static str {
        match self {
            Self::Street => "street",
            Self::Mall => "mall",
            Self::Night => "night",
            Self::Drone => "drone",
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Domain {
    type Err = SynthesisError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|domain| domain.name() == text);
        found.ok_or_else(|| SynthesisError::UnknownDomain {
            text: text.chars().take(40).collect(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for domain in Domain::ALL {
            assert_eq!(domain.to_string().parse::<Domain>().unwrap(), domain);
            assert_eq!(serde_json::to_string(&domain).unwrap(), format!("\"{domain}\""));
        }
        let message = "Street".parse::<Domain>().unwrap_err().to_string();
        assert!(message.contains("street, mall, night, drone"), "{message}");
    }
}
