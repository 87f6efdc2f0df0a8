using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>The messages shown in docs/verdicts.md, each below the name of the test that printed it. SAFEPOOL_ACCEPT=1 writes them anew.</summary>
/// <remarks>Compared without what differs from run to run: numbers, durations, traces.</remarks>
internal static partial class VerdictPage
{
    private static readonly Lock Writing = new();

    public static string Text => File.ReadAllText(FilePath);

    private static string FilePath => Path.Combine(Sites.Folder(), "..", "..", "..", "docs", "verdicts.md");

    public static void Shows(PoolException error, [CallerMemberName] string test = "")
    {
        lock (Writing)
        {
            var page = Text;
            var shown = Regex.Match(page, $@"`\w+\.{test}`[^\n]*\n\n> (?<message>[^\n]*)\n").Groups["message"];
            Assert.True(shown.Success, $"docs/verdicts.md shows no message of {test}.");
            if (Normalized(shown.Value) == Normalized(error.Message))
            {
                return;
            }

            if (Environment.GetEnvironmentVariable("SAFEPOOL_ACCEPT") == "1")
            {
                File.WriteAllText(FilePath, page[..shown.Index] + error.Message + page[(shown.Index + shown.Length)..]);
                return;
            }

            // For the difference in the report; and in case they differ in numbers only, which cannot be.
            Assert.Equal(Normalized(shown.Value), Normalized(error.Message));
        }
    }

    /// <summary>The table below the heading "The matrix".</summary>
    public static void ShowsMatrix(string rows)
    {
        lock (Writing)
        {
            var page = Text;
            var shown = Matrix().Match(page).Groups["rows"];
            Assert.True(shown.Success, "docs/verdicts.md has no matrix.");
            if (shown.Value != rows && Environment.GetEnvironmentVariable("SAFEPOOL_ACCEPT") == "1")
            {
                File.WriteAllText(FilePath, page[..shown.Index] + rows + page[(shown.Index + shown.Length)..]);
                return;
            }

            Assert.Equal(rows, shown.Value);
        }
    }

    /// <summary>The anchors that GitHub makes of the page's headings.</summary>
    public static IEnumerable<string> Anchors()
        => Heading().Matches(Text).Select(heading => heading.Groups["title"].Value.ToLowerInvariant().Replace(' ', '-'));

    private static string Normalized(string message)
    {
        var timeless = Duration().Replace(Trace().Replace(message, "trace N"), "T").Replace("T to T", "T", StringComparison.Ordinal);
        return Number().Replace(timeless, "N");
    }

    [GeneratedRegex(@"^#+ (?<title>.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"^## The matrix\n(?:(?!\|)[^\n]*\n)*(?<rows>(?:\|[^\n]*\n)*)", RegexOptions.Multiline)]
    private static partial Regex Matrix();

    [GeneratedRegex("trace [0-9a-f]{32}")]
    private static partial Regex Trace();

    [GeneratedRegex(@"\d+ min \d+ s|\d+(\.\d+)? (ms|s)\b")]
    private static partial Regex Duration();

    [GeneratedRegex(@"\d+(\.\d+)?")]
    private static partial Regex Number();
}
