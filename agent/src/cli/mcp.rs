//! `nocturne mcp`: a campaign as tools for a coding agent, on standard input and output.

use super::{Fault, McpArgs, campaign_fault, here};
use crate::campaign;
use crate::layout::Layout;
use crate::mcp::{self, Desk};
use crate::repo::Repo;

pub(super) async fn mcp(args: McpArgs) -> Result<(), Fault> {
    // Clients start it wherever they like.
    let place = if args.campaign.is_absolute() { args.campaign.clone() } else { here()? };
    let repo = Repo::discover(&place).map_err(Fault::usage)?;
    let layout = Layout::new(repo.root());
    drop(repo);
    let folder = campaign::locate(layout.root(), &args.campaign).map_err(campaign_fault)?;
    let campaign = campaign::load(&folder).map_err(campaign_fault)?;
    // Standard output is the client's; whatever else there is to say goes to standard error.
    mcp::serve(Desk::new(layout, campaign), tokio::io::stdin(), tokio::io::stdout()).await.map_err(Fault::failed)
}
