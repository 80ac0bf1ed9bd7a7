//! A Chromium without a window. What WebDriver has no word for (colour scheme, a phone's screen,
//! the console) is asked of chromedriver itself.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// How long the browser may take for one thing.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long an element is looked for again that was replaced in between, and how often.
const TRY: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

/// How a page is looked at: width and height of the window, `light` or `dark`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) size: (u32, u32),
    pub(crate) scheme: &'static str,
}

/// A running browser, ended with this.
pub(crate) struct Browser {
    driver: Driver,
    client: Client,
}

/// chromedriver.
struct Driver {
    child: Child,
    port: u16,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It ends its browser with itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Driver {
    fn start() -> anyhow::Result<Self> {
        let program = std::env::var_os("CHROMEDRIVER").unwrap_or_else(|| "chromedriver".into());
        let mut child = Command::new(&program)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| {
                let program = program.display();
                format!(
                    "THE DASHBOARD WAS NOT TRIED IN A BROWSER: {program} cannot be started; \
                     install chromium and chromium-driver, or set CHROMEDRIVER"
                )
            })?;
        let said = child.stdout.take().context("chromedriver has no output")?;
        for line in BufReader::new(said).lines() {
            let line = line?;
            let port = line.split("successfully on port ").nth(1);
            if let Some(port) = port.and_then(|rest| rest.trim_end_matches('.').parse().ok()) {
                return Ok(Self { child, port });
            }
        }
        bail!("chromedriver ended before it said where it listens")
    }

    /// What chromedriver answers to a command of its own.
    fn tell(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = body.to_string();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let (head, body) = read_answer(&mut BufReader::new(stream))?;
        ensure!(head.contains(" 200 "), "{path}: {head}\n{body}");
        let answer: Value = serde_json::from_str(&body)?;
        Ok(answer.get("value").cloned().unwrap_or_default())
    }
}

/// Head and body; the connection stays open behind them.
fn read_answer(stream: &mut impl BufRead) -> anyhow::Result<(String, String)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line)? > 0, "chromedriver broke off after {head}");
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((head, String::from_utf8(body)?))
}

impl Browser {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(json!({})).await
    }

    pub(crate) async fn start_without_scripts() -> anyhow::Result<Self> {
        let setting = "profile.managed_default_content_settings.javascript";
        Self::start_with(json!({ setting: 2 })).await
    }

    async fn start_with(preferences: Value) -> anyhow::Result<Self> {
        let driver = Driver::start()?;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
            "--font-render-hinting=none",
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments, "prefs": preferences },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let capabilities: Capabilities = serde_json::from_value(capabilities)?;
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let client = builder.connect(&format!("http://127.0.0.1:{}", driver.port)).await?;
        Ok(Self { driver, client })
    }

    pub(crate) async fn go_to(&mut self, url: &str) -> anyhow::Result<()> {
        Ok(self.client.goto(url).await?)
    }

    /// Waits until there is such an element; gives its text.
    pub(crate) async fn wait_for(&mut self, css: &str, within: Duration) -> anyhow::Result<String> {
        let element = self.client.wait().at_most(within).for_element(Locator::Css(css)).await;
        if element.is_err() {
            let page = self.text("body").await.unwrap_or_default();
            bail!("no {css} in {} s on\n{page}", within.as_secs());
        }
        self.text(css).await
    }

    /// Its text.
    pub(crate) async fn text(&mut self, css: &str) -> anyhow::Result<String> {
        // Parts that change are replaced whole: the element of a moment ago may be gone.
        let deadline = Instant::now() + TRY;
        loop {
            match self.client.find(Locator::Css(css)).await?.text().await {
                Ok(text) => return Ok(text),
                Err(error) if Instant::now() > deadline => bail!("{css} has no text: {error}"),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    pub(crate) async fn click(&mut self, css: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + TRY;
        loop {
            match self.client.find(Locator::Css(css)).await?.click().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => bail!("{css} not clicked: {error}"),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    pub(crate) async fn type_into(&mut self, css: &str, text: &str) -> anyhow::Result<()> {
        Ok(self.client.find(Locator::Css(css)).await?.send_keys(text).await?)
    }

    /// What the browser gets where a link leads.
    pub(crate) async fn fetch(&mut self, css: &str) -> anyhow::Result<String> {
        let script = "const [css, done] = arguments; \
                      fetch(document.querySelector(css).href).then(it => it.text()).then(done);";
        let got = self.client.execute_async(script, vec![css.into()]).await?;
        Ok(got.as_str().unwrap_or_default().to_owned())
    }

    /// How wide the page is; wider than its window must be scrolled sideways.
    pub(crate) async fn content_width(&mut self) -> anyhow::Result<u32> {
        let width = self.client.execute("return document.documentElement.scrollWidth", vec![]);
        let width = width.await?.as_u64().context("a page has a width")?;
        Ok(u32::try_from(width)?)
    }

    /// Fails if something that can be used, or an image, has no name that can be read aloud, or
    /// an id is there twice.
    pub(crate) async fn check_names(&mut self) -> anyhow::Result<()> {
        let script = r#"
            const named = (it) => (it.getAttribute("aria-label") || it.textContent
                || (it.labels && it.labels[0] && it.labels[0].textContent) || "").trim();
            const all = [...document.querySelectorAll("a, button, input, svg[role=img], summary")];
            const ids = [...document.querySelectorAll("[id]")].map((it) => it.id);
            return [
                ...all.filter((it) => !named(it)).map((it) => "without a name: " + it.outerHTML),
                ...ids.filter((it, at) => ids.indexOf(it) !== at).map((it) => "twice: " + it),
            ];"#;
        let wrong = self.client.execute(script, vec![]).await?;
        let wrong = wrong.as_array().cloned().unwrap_or_default();
        ensure!(wrong.is_empty(), "{wrong:?}");
        Ok(())
    }

    /// From now on the page is looked at like this.
    pub(crate) async fn look(&mut self, look: Look) -> anyhow::Result<()> {
        let Look { size: (width, height), scheme } = look;
        let (is_phone, scheme) =
            (width < 600, json!([{"name": "prefers-color-scheme", "value": scheme}]));
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": is_phone});
        self.command("Emulation.setDeviceMetricsOverride", screen).await?;
        self.command("Emulation.setEmulatedMedia", json!({ "features": scheme })).await?;
        Ok(())
    }

    /// Saves what is seen, the whole page, if somebody wants it.
    pub(crate) async fn keep(&mut self, name: &str) -> anyhow::Result<()> {
        let Some(folder) = std::env::var_os("SCREENSHOTS").map(PathBuf::from) else {
            return Ok(());
        };
        let how = json!({"format": "png", "captureBeyondViewport": true});
        let image = self.command("Page.captureScreenshot", how).await?;
        let image = image.get("data").and_then(Value::as_str).context("a picture has data")?;
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), STANDARD.decode(image)?)?;
        Ok(())
    }

    /// What the console of the browser says: errors of scripts, and what the policy forbade.
    pub(crate) async fn complaints(&mut self) -> anyhow::Result<Vec<String>> {
        let path = format!("/session/{}/se/log", self.session().await?);
        let lines = self.driver.tell(&path, &json!({"type": "browser"}))?;
        let lines = lines.as_array().cloned().unwrap_or_default();
        Ok(lines.iter().map(ToString::to_string).collect())
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        Ok(self.client.close().await?)
    }

    /// A command of Chromium's own protocol.
    async fn command(&mut self, name: &str, parameters: Value) -> anyhow::Result<Value> {
        let path = format!("/session/{}/goog/cdp/execute", self.session().await?);
        self.driver.tell(&path, &json!({"cmd": name, "params": parameters}))
    }

    async fn session(&mut self) -> anyhow::Result<String> {
        self.client.session_id().await?.context("the browser has no session")
    }
}
