using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>Realistic code, line by line: every rule says what it has to, where it has to, and nothing else.</summary>
public sealed partial class CorpusTests
{
    private static readonly string[] _files = [.. Directory.GetFiles(Source.Path("tests/SafePool.Analyzers.Tests/Corpus"), "*.cs").Order(StringComparer.Ordinal)];

    public static TheoryData<string> Files { get; } = [.. _files.Select(file => Path.GetFileName(file))];

    [Theory]
    [MemberData(nameof(Files))]
    public async Task Corpus_OfRealisticCode_HasExactlyTheListedDiagnostics(string file)
    {
        var code = await File.ReadAllTextAsync(_files.Single(path => Path.GetFileName(path) == file), TestContext.Current.CancellationToken);

        Assert.Equal(Expected(code), await FoundAsync(code));
    }

    [Fact]
    public async Task Table_OfTheCorpus_IsThatOfThePage()
    {
        var expected = new List<string>();
        var found = new List<string>();
        var snippets = 0;
        foreach (var file in _files)
        {
            var code = await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken);
            expected.AddRange(Expected(code).Select(line => line[^7..]));
            found.AddRange((await FoundAsync(code)).Select(line => line[^7..]));
            snippets += Snippets.Compile(code).SyntaxTrees[1].GetRoot(TestContext.Current.CancellationToken).ChildNodes().OfType<TypeDeclarationSyntax>().Count();
        }

        var table = string.Join('\n', AllRules.Ids.Select(id => $"| [{id}]({id}.md) | {expected.Count(one => one == id)} | {found.Count(one => one == id)} |"));
        var path = Source.Path("docs/rules/README.md");
        var page = await File.ReadAllTextAsync(path, TestContext.Current.CancellationToken);
        var measured = Table().Replace(page, $"<!-- corpus -->\n{snippets} snippets:\n\n| rule | expected | found |\n|---|---:|---:|\n{table}\n");
        if (Environment.GetEnvironmentVariable("SAFEPOOL_ACCEPT") == "1")
        {
            await File.WriteAllTextAsync(path, page = measured, TestContext.Current.CancellationToken);
        }

        Assert.InRange(snippets, 40, int.MaxValue);
        Assert.All(AllRules.Ids, id => Assert.Contains(id, expected));
        Assert.Equal(measured, page);
    }

    private static string[] Expected(string code)
        => [.. code.Split('\n').SelectMany((line, index) => Expectation().Matches(line).Select(match => $"{index + 1}: {match.Groups["id"].Value}"))];

    private static async Task<string[]> FoundAsync(string code)
        => [.. (await Snippets.AnalyzeAsync(Snippets.Compile(code), AllRules.Analyzers)).Select(diagnostic => $"{diagnostic.Location.GetLineSpan().StartLinePosition.Line + 1}: {diagnostic.Id}")];

    [GeneratedRegex(@"// expect: (?<id>SFP\d{4})")]
    private static partial Regex Expectation();

    [GeneratedRegex(@"<!-- corpus -->\n(?:.*\n)*?(?=\n##|\z)")]
    private static partial Regex Table();
}
