//! What a session can do, from Rust. Finds the server by `AGB_ENDPOINT` and `AGB_API_KEY`, or by `.env`:
//! `cargo run -p berth-client --example quickstart`.

#![allow(clippy::print_stdout)]

use berth_client::{Agb, AgbConfig, CreateSessionParams, Error, ListParams, RunEvent, Session};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let agb = Agb::new(AgbConfig::from_env()?)?;
    let session = agb.create(CreateSessionParams::new("agb-code-space-1")).await?;
    println!("session  {}", session.session_id());
    let outcome = tour(&agb, &session).await;
    agb.delete(&session).await?;
    outcome?;
    let end = agb.detail(session.session_id()).await?.end;
    println!("end      {}", end.map(|end| end.text).unwrap_or_default());
    Ok(())
}

async fn tour(agb: &Agb, session: &Session) -> Result<(), Error> {
    let run = session
        .code()
        .run("import sys\nprint(sys.version_info[0])\n6 * 7", "python")
        .await?;
    println!("code     {} {:?}", run.text(), run.logs.stdout);

    let mut run = session
        .code()
        .run("for n in range(3): print(n, flush=True)", "python")
        .stream()
        .await?;
    while let Some(event) = run.next().await? {
        if let RunEvent::Stdout(text) = event {
            println!("live     {text:?}");
        }
    }

    let done = session
        .command()
        .execute("echo $WHO; pwd; exit 3")
        .cwd("/tmp")
        .env("WHO", "me")
        .await?;
    println!("shell    {:?} and exit code {}", done.stdout, done.exit_code);

    let files = session.file();
    files.mkdir("/home/user/folder").await?;
    files.write("/home/user/folder/a.txt", "Grüße\n").await?;
    let bytes = files.read_binary("/home/user/folder/a.txt").await?;
    let info = files.info("/home/user/folder/a.txt").await?;
    println!(
        "file     {:?}, {} bytes, {}",
        files.read(&info.path).await?,
        bytes.len(),
        info.mode
    );
    println!("folder   {:?}", files.list("/home/user/folder").await?);

    session.set_labels([("project", "demo")]).await?;
    let found = agb.list(&ListParams::new().label("project", "demo")).await?;
    println!(
        "labels   {:?}, found {} of {}",
        session.get_labels().await?,
        found.session_ids.len(),
        found.total_count
    );

    println!("tools    {}", session.list_mcp_tools(None).await?.len());
    println!("memory   {} bytes", session.get_metrics().await?.mem_used);
    println!("port     {}", session.get_link(Some("http"), Some(30100)).await?);
    println!("status   {}", session.get_status().await?);
    println!("watch    {}", session.info().await?.resource_url);
    Ok(())
}
