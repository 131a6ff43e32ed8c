// The colours: as the system, light or dark. A classic script, so that a choice holds before the first paint.
{
  const ORDER = ["auto", "light", "dark"];
  const TOLD = { auto: "as the system", light: "light", dark: "dark" };
  let theme = "auto";
  try {
    theme = localStorage.getItem("me5-theme") ?? "auto";
  } catch {
    // A browser that stores nothing still has both themes.
  }
  const apply = () => {
    document.documentElement.dataset.theme = theme;
    document.getElementById("theme")?.setAttribute("aria-label", `Colours: ${TOLD[theme] ?? TOLD.auto}. Change`);
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
      apply();
      try {
        localStorage.setItem("me5-theme", theme);
      } catch {
        // The choice then lasts as long as the page.
      }
    });
  });
}
