//! Whom to reach: the contact forms of the bids that stand, masked, for the organiser's agent alone and only once the
//! bids are counted (E1, threat 25).
//!
//! A form lies wrapped in a side table, in no event and no log; what leaves here has no number whole.

use std::sync::Arc;

use kaibiao_engine::{keeper::SideSpace, project::Project};
use kaibiao_protocol::{
    ids::ProjectId,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Role},
    view::{ContactRow, ProjectStatus},
};
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    house::House,
    intake::{CONTACT, CONTACT_SALT_BYTES, contact_name},
    refusals::refuse,
};

/// A form as it is kept; wiped when dropped.
#[derive(Deserialize, Zeroize)]
#[zeroize(drop)]
struct Form {
    name: String,
    id_number: String,
    mobile: String,
    postcode: String,
    address: String,
}

/// The rows, in the order of receipt.
pub(crate) async fn contacts(
    house: &House,
    asker: &Asker,
    project: Arc<Project>,
) -> Result<Vec<ContactRow>, Refusal> {
    let spec = project.spec().ok_or_else(|| refuse(RefusalCode::Unknown))?;
    let allowed = matches!(asker, Asker::Person { organisation, role: Role::Agent, .. } if *organisation == spec.organiser);
    if !allowed {
        return Err(refuse(RefusalCode::RoleNotAllowed));
    }
    // Until the count even the number of rows would tell.
    if project.status().is_none_or(|status| status == ProjectStatus::Receiving) {
        return Err(refuse(RefusalCode::BeforeDeadline));
    }
    let (house, id) = (house.clone(), spec.id.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let bids = project.standing_bids();
        bids.into_iter().map(|bid| row(&house, &id, bid)).collect::<Option<Vec<ContactRow>>>()
    });
    reading.await.ok().flatten().ok_or_else(|| refuse(RefusalCode::Busy))
}

fn row(house: &House, project: &ProjectId, bid: &kaibiao_engine::project::Bid) -> Option<ContactRow> {
    let facts = &bid.facts;
    let name = contact_name(project, &facts.bid);
    let wrapped = house.journal().side(SideSpace::Contact, &name).ok()??;
    let salted: Zeroizing<Vec<u8>> = house.keys().store.unwrap(CONTACT, &name, &wrapped).ok()?;
    let form: Form = serde_json::from_slice(salted.get(CONTACT_SALT_BYTES..)?).ok()?;
    Some(ContactRow {
        bid: facts.bid,
        supplier: facts.supplier_name.clone(),
        name: masked(&form.name, 1, 0),
        id_number: masked(&form.id_number, 3, 2),
        mobile: masked(&form.mobile, 3, 4),
        postcode: form.postcode.clone(),
        address: masked(&form.address, 6, 0),
    })
}

/// The first and the last letters of a text, and a star for each between them; a short text keeps only its first.
fn masked(text: &str, first: usize, last: usize) -> String {
    let letters = text.chars().count();
    let (first, last) = if letters > first + last { (first, last) } else { (1.min(letters), 0) };
    let hidden = first..letters - last;
    text.chars()
        .enumerate()
        .map(|(place, letter)| if hidden.contains(&place) { '*' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_and_no_name_leaves_whole() {
        assert_eq!(masked("330106199001011237", 3, 2), "330*************37");
        assert_eq!(masked("13812345678", 3, 4), "138****5678");
        assert_eq!(masked("王明德", 1, 0), "王**");
        assert_eq!(masked("王", 1, 0), "王");
        assert_eq!(masked("12", 3, 4), "1*");
        assert_eq!(masked("", 3, 4), "");
    }
}
