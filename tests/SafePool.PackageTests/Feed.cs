using Xunit;

[assembly: AssemblyFixture(typeof(SafePool.PackageTests.Feed))]

namespace SafePool.PackageTests;

/// <summary>All packages of the library, packed as a release would be; for all tests, once.</summary>
public sealed class Feed : IAsyncLifetime
{
    private readonly string _root = Directory.CreateTempSubdirectory("safepool-packages-").FullName;

    /// <summary>Gets where the packages are.</summary>
    public string PackagesDirectory => Path.Combine(_root, "feed");

    /// <summary>Gets the same packages, built from a copy of the same sources in another place.</summary>
    public string OtherPackagesDirectory => Path.Combine(_root, "a-feed-elsewhere");

    /// <summary>Gets the commit that they were built from.</summary>
    public string Commit { get; private set; } = "";

    /// <summary>Gets the ids of the packages.</summary>
    public IReadOnlyList<string> Ids
        => [.. Directory.GetFiles(PackagesDirectory, "*.nupkg").Select(file => Path.GetFileName(file)[..^$".{Version}.nupkg".Length]).Order(StringComparer.Ordinal)];

    /// <summary>Gets the one version of all of them.</summary>
    public string Version { get; private set; } = "";

    /// <inheritdoc/>
    public async ValueTask InitializeAsync()
    {
        Commit = await SourceCopy.MakeAsync(Path.Combine(_root, "sources"));
        var again = await SourceCopy.MakeAsync(Path.Combine(_root, "the-same", "sources"));
        Assert.Equal(Commit, again);
        await Task.WhenAll(
            PackAsync(Path.Combine(_root, "sources"), PackagesDirectory),
            PackAsync(Path.Combine(_root, "the-same", "sources"), OtherPackagesDirectory));
        Version = Path.GetFileName(Directory.GetFiles(PackagesDirectory, "SafePool.?.*.nupkg").Single())["SafePool.".Length..^".nupkg".Length];
    }

    /// <summary>Opens a package, or what goes to a symbol server.</summary>
    internal Package Open(string id, bool symbols = false, bool other = false)
        => new(Path.Combine(other ? OtherPackagesDirectory : PackagesDirectory, $"{id}.{Version}.{(symbols ? "snupkg" : "nupkg")}"));

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Directory.Delete(_root, recursive: true);
        return ValueTask.CompletedTask;
    }

    /// <summary>Makes a project of a user's own out of a template beside this file: outside of the repository, with nothing but the packages.</summary>
    /// <returns>Where it is.</returns>
    internal async Task<Consumer> CreateConsumerAsync(string template)
    {
        var directory = Path.Combine(_root, "consumers", template);
        SourceCopy.CopyTree(SourceCopy.Beside($"Consumers/{template}"), directory);
        var consumer = new Consumer(directory, Path.Combine(_root, "cache"), Version);
        await File.WriteAllTextAsync(Path.Combine(directory, "nuget.config"), await NuGetConfig.WriteAsync(directory, PackagesDirectory));
        return consumer;
    }

    // Without analyzers, which the solution's own build has run: they cost more than the compiler.
    private static async Task PackAsync(string sources, string target)
        => await Dotnet.RunAsync(
            sources, new Dictionary<string, string> { ["CI"] = "true" }, "pack", "Packages.slnx", "-c", "Release", "-o", target, "-p:RunAnalyzers=false");
}
