using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>docs/rules: a page for every rule, and what it shows is reported, or not, as it says.</summary>
public sealed partial class RulePagesTests
{
    public static TheoryData<string> Ids { get; } = [.. AllRules.Ids];

    [Theory]
    [MemberData(nameof(Ids))]
    public async Task Page_ShowsWhatIsReportedAndWhatIsNot(string id)
    {
        var analyzer = AllRules.Of(id);
        var rule = analyzer.SupportedDiagnostics[0];
        var page = await File.ReadAllTextAsync(Source.Path($"docs/rules/{id}.md"), TestContext.Current.CancellationToken);
        var blocks = Block().Matches(page).Select(match => match.Groups["code"].Value).ToArray();

        Assert.StartsWith($"# {id}: {rule.Title}\n", page, StringComparison.Ordinal);
        Assert.Contains($"Severity: {rule.DefaultSeverity.ToString().ToLowerInvariant()}.", page, StringComparison.Ordinal);
        Assert.Equal($"docs/rules/{id}.md", rule.HelpLinkUri);
        Assert.Equal(2, blocks.Length);
        Assert.NotEmpty(await Snippets.AnalyzeAsync(Snippets.Compile(Whole(blocks[0])), analyzer));
        Assert.Empty(await Snippets.AnalyzeAsync(Snippets.Compile(Whole(blocks[1])), AllRules.Analyzers));
    }

    [Fact]
    public async Task Releases_ListEveryRuleWithItsSeverity()
    {
        var listed = await File.ReadAllTextAsync(Source.Path("src/SafePool.Analyzers/AnalyzerReleases.Unshipped.md"), TestContext.Current.CancellationToken);

        Assert.Equal(
            AllRules.Analyzers.Select(analyzer => analyzer.SupportedDiagnostics[0]).Select(rule => (rule.Id, rule.DefaultSeverity.ToString())),
            Listed().Matches(listed).Select(match => (match.Groups["id"].Value, match.Groups["severity"].Value)));
    }

    private static string Whole(string block)
        => "using Microsoft.Extensions.DependencyInjection;\n" + (block.Contains("class ", StringComparison.Ordinal) ? block : Verify.InMethod(block));

    [GeneratedRegex("```csharp\n(?<code>.*?)```", RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex(@"^(?<id>SFP\d{4}) \| SafePool \| (?<severity>\w+)", RegexOptions.Multiline)]
    private static partial Regex Listed();
}
