using System.Text.RegularExpressions;

namespace SafePool.PackageTests;

/// <summary>Where a consumer's packages come from: ours from the local feed and nowhere else, all others from where this machine is told to look.</summary>
internal static partial class NuGetConfig
{
    public static async Task<string> WriteAsync(string directory, string feed)
    {
        var listed = await Dotnet.RunAsync(directory, new Dictionary<string, string>(), "nuget", "list", "source");
        var others = Source().Matches(listed).Select(match => match.Groups["name"].Value).ToArray();
        if (others.Length == 0)
        {
            throw new InvalidOperationException($"No package source is configured and enabled on this machine: {listed}");
        }

        var mappings = others.Select(name => $"""    <packageSource key="{name}"><package pattern="*" /></packageSource>""");
        return $"""
            <configuration>
              <packageSources><add key="the-local-feed" value="{feed}" /></packageSources>
              <packageSourceMapping>
                <packageSource key="the-local-feed"><package pattern="SafePool" /><package pattern="SafePool.*" /></packageSource>
            {string.Join(Environment.NewLine, mappings)}
              </packageSourceMapping>
            </configuration>
            """;
    }

    [GeneratedRegex(@"^\s*\d+\.\s+(?<name>.+) \[Enabled\]\s*$", RegexOptions.Multiline)]
    private static partial Regex Source();
}
