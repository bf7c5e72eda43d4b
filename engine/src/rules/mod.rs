//! The rules of law as data.

/// Which rules a project stands under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum RulePack {
    /// `GP/1`: government procurement of goods and services.
    #[default]
    Gp1,
    /// `CTB/1`: tendered works.
    Ctb1,
}

impl RulePack {
    /// The pack of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "GP/1" => Some(RulePack::Gp1),
            "CTB/1" => Some(RulePack::Ctb1),
            _ => None,
        }
    }

    /// Its name and version.
    pub fn name(self) -> &'static str {
        match self {
            RulePack::Gp1 => "GP/1",
            RulePack::Ctb1 => "CTB/1",
        }
    }
}
