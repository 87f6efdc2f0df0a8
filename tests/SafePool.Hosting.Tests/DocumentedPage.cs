using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Xunit;

namespace SafePool.Hosting.Tests;

/// <summary>A page of docs whose code stands in a test file too, where it is compiled and run.</summary>
internal sealed partial class DocumentedPage(string name, [CallerFilePath] string code = "")
{
    public string Text { get; } = File.ReadAllText(Path.Combine(Path.GetDirectoryName(code)!, "../../docs", name));

    public string Json => FirstJson().Match(Text).Groups["code"].Value;

    /// <summary>Every line of its C# must be a line of the test file.</summary>
    public void AssertIsCompiled()
    {
        var compiled = File.ReadAllLines(code).Select(line => line.Trim()).ToHashSet(StringComparer.Ordinal);
        var lines = CSharp().Matches(Text).SelectMany(match => match.Groups["code"].Value.Split('\n')).Select(line => line.Trim()).ToArray();

        Assert.NotEmpty(lines);
        Assert.All(lines, line => Assert.Contains(line, compiled));
    }

    [GeneratedRegex("```csharp\n(?<code>.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharp();

    [GeneratedRegex("```json\n(?<code>.*?)```", RegexOptions.Singleline)]
    private static partial Regex FirstJson();
}
