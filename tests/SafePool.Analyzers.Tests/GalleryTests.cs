using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>samples/AnalyzerGallery: in each file the one rule fires that its name says, once.</summary>
public sealed class GalleryTests
{
    public static TheoryData<string> Files { get; } =
        [.. Directory.GetFiles(Source.Path("samples/AnalyzerGallery"), "SFP*.cs").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Files))]
    public async Task File_OfTheGallery_ShowsItsRule(string file)
    {
        var code = await File.ReadAllTextAsync(Source.Path($"samples/AnalyzerGallery/{file}"), TestContext.Current.CancellationToken);
        var said = await Snippets.AnalyzeAsync(Snippets.Compile($"using System.Net.Http;\n{code}"), AllRules.Analyzers);

        Assert.Equal(file[..7], Assert.Single(said).Id);
    }

    [Fact]
    public void Gallery_HasEveryRule() => Assert.Equal(AllRules.Ids, Files.Select(file => file.Data[..7]));
}
