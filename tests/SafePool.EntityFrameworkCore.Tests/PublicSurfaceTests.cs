using System.Runtime.CompilerServices;
using Microsoft.EntityFrameworkCore;
using SafePool.Tests;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

public sealed class PublicSurfaceTests
{
    private const string Accept = "SAFEPOOL_ACCEPT_SURFACE";

    [Fact]
    public async Task PublicSurface_OfThePackage_IsTheReviewedOne()
    {
        var file = ReviewedFile();
        var actual = PublicSurface.Of(typeof(SafePoolDbContextOptionsBuilderExtensions).Assembly);
        if (Environment.GetEnvironmentVariable(Accept) == "1")
        {
            await File.WriteAllLinesAsync(file, actual, TestContext.Current.CancellationToken);
        }

        var reviewed = File.Exists(file) ? await File.ReadAllLinesAsync(file, TestContext.Current.CancellationToken) : [];

        List<string> differences = [.. reviewed.Except(actual).Select(line => $"- {line}"), .. actual.Except(reviewed).Select(line => $"+ {line}")];
        Assert.True(
            reviewed.SequenceEqual(actual),
            $"The public surface differs from {Path.GetFileName(file)}. If that is meant, run this test once with {Accept}=1, " +
            $"review the file and commit it.{Environment.NewLine}{string.Join(Environment.NewLine, differences)}");
    }

    private static string ReviewedFile([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "PublicSurface.txt");
}
