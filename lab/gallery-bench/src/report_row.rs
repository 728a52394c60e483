//! What every report comes to: rows of a table.

/// One number of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportRow {
    /// What was measured.
    pub what: String,
    /// What was found.
    pub value: f64,
    /// Its unit; empty for ratios and counts.
    pub unit: &'static str,
    /// What it should be, where that was decided.
    pub target: Option<Target>,
}

/// What a number should be. For the reader of a report: nothing fails beyond it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// Below this.
    Below(f64),
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// No further from zero.
    Within(f64),
}

impl ReportRow {
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, target: None }
    }

    #[must_use]
    pub(crate) fn target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    /// With the target that was decided for a gallery of this size, if one was.
    #[must_use]
    pub(crate) fn target_at(self, images: u64, decided: &[(u64, Target)]) -> Self {
        let target = decided.iter().find(|(size, _)| *size == images).map(|(_, target)| *target);
        Self { target, ..self }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Below(value) => write!(formatter, "< {value}"),
            Self::AtMost(value) => write!(formatter, "<= {value}"),
            Self::AtLeast(value) => write!(formatter, ">= {value}"),
            Self::Within(value) => write!(formatter, "within {value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_belong_to_a_size() {
        let row = |images| {
            let decided = [(100, Target::Below(3.0)), (1_000, Target::Below(25.0))];
            ReportRow::new("p50", 1.0, "ms").target_at(images, &decided).target
        };
        assert_eq!(row(1_000), Some(Target::Below(25.0)));
        assert_eq!(row(500), None);
        assert_eq!(Target::AtLeast(0.9).to_string(), ">= 0.9");
    }
}
