using System.Xml.Linq;
using Xunit;

namespace SafePool.PackageTests;

/// <summary>What is in the packages, and what they bring along.</summary>
public sealed class PackageContentTests(Feed feed)
{
    /// <summary>A package that comes or goes, and a dependency that comes or goes, is a decision: it is written down here.</summary>
    private static readonly Dictionary<string, string[]> _dependencies = new()
    {
        ["SafePool"] =
        [
            "Microsoft.Extensions.Logging.Abstractions 10.0.14",
            "Microsoft.Extensions.ObjectPool 10.0.14",
            "Microsoft.Extensions.Options 10.0.14",
            "Npgsql [10.0.0, 11.0.0)",
        ],
        ["SafePool.EntityFrameworkCore"] = ["SafePool [$version]", "Npgsql.EntityFrameworkCore.PostgreSQL [10.0.0, 11.0.0)"],
        ["SafePool.Hosting"] =
        [
            "SafePool [$version]",
            "Microsoft.Extensions.Diagnostics.HealthChecks 10.0.14",
            "Microsoft.Extensions.Hosting.Abstractions 10.0.14",
            "Microsoft.Extensions.Options.ConfigurationExtensions 10.0.14",
        ],
    };

    [Fact]
    public void Packages_AreThose() => Assert.Equal(_dependencies.Keys.Order(StringComparer.Ordinal), feed.Ids);

    [Fact]
    public void EveryPackage_DependsOnNothingElse()
        => Assert.All(feed.Ids, id =>
        {
            using var package = feed.Open(id);
            var group = Assert.Single(package.Metadata().Element("dependencies")!.Elements("group"));

            Assert.Equal("net10.0", (string?)group.Attribute("targetFramework"));
            Assert.Equal(
                _dependencies[id].Select(dependency => dependency.Replace("$version", feed.Version, StringComparison.Ordinal)),
                group.Elements("dependency").Select(dependency => $"{dependency.Attribute("id")!.Value} {dependency.Attribute("version")!.Value}"));
        });

    [Fact]
    public void EveryPackage_SaysWhatItIsAndWhatItMayBeUsedFor()
        => Assert.All(feed.Ids, id =>
        {
            using var package = feed.Open(id);
            var metadata = package.Metadata();

            Assert.Equal("MIT", Text(metadata, "license"));
            Assert.Equal("expression", (string?)metadata.Element("license")!.Attribute("type"));
            Assert.Equal("README.md", Text(metadata, "readme"));
            Assert.StartsWith("# ", System.Text.Encoding.UTF8.GetString(package.Read("README.md")), StringComparison.Ordinal);
            Assert.InRange(Text(metadata, "description").Length, 40, 400);
            Assert.NotEqual("Package Description", Text(metadata, "description"));
            Assert.Contains("postgresql", Text(metadata, "tags"), StringComparison.Ordinal);
            Assert.Equal((SourceCopy.Remote, feed.Commit), ((string?)metadata.Element("repository")!.Attribute("url"), (string?)metadata.Element("repository")!.Attribute("commit")));
        });

    [Fact]
    public void EveryPackage_HasItsDocumentationBesideIt()
        => Assert.All(feed.Ids, id =>
        {
            using var package = feed.Open(id);
            using var memory = new MemoryStream(package.Read($"lib/net10.0/{id}.xml"));

            var members = XDocument.Load(memory).Descendants("member").Select(member => member.Attribute("name")!.Value).ToArray();

            Assert.Equal(id, XDocument.Parse(System.Text.Encoding.UTF8.GetString(package.Read($"lib/net10.0/{id}.xml"))).Descendants("name").First().Value);
            Assert.NotEmpty(members);
            Assert.DoesNotContain(package.Files, name => name.EndsWith(".pdb", StringComparison.Ordinal));
        });

    /// <summary>Whoever steps into the library sees its sources: from the repository what is in it, from the symbols what was generated.</summary>
    [Fact]
    public void EverySymbolFile_LeadsToEachOfItsSources()
        => Assert.All(feed.Ids, id =>
        {
            using var package = feed.Open(id, symbols: true);
            using var symbols = new SymbolFile(package.Read($"lib/net10.0/{id}.pdb"));
            var raw = $"https://raw.githubusercontent.com/safepool-tests/safepool/{feed.Commit}/src/{id}/";

            Assert.All(symbols.Sources, source => Assert.True(source.Value is null || source.Value.StartsWith(raw, StringComparison.Ordinal), $"{source.Key}: '{source.Value}'"));
            Assert.Contains(symbols.Sources, source => source.Value is not null);
            Assert.All(symbols.Sources.Keys, path => Assert.StartsWith("/_/", path, StringComparison.Ordinal));
        });

    [Fact]
    public void EveryAssembly_BuiltFromTheSameSourcesElsewhere_IsTheSame()
        => Assert.All(feed.Ids, id =>
        {
            using var here = feed.Open(id);
            using var elsewhere = feed.Open(id, other: true);

            Assert.True(here.Read($"lib/net10.0/{id}.dll").AsSpan().SequenceEqual(elsewhere.Read($"lib/net10.0/{id}.dll")));
        });

    private static string Text(XElement metadata, string name) => metadata.Element(name)?.Value ?? "";
}
