using System.Text;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>The matrix of docs/verdicts.md: whatever runs a pool dry, the verdict is right, and the message says whose fault it is.</summary>
public sealed class VerdictMatrixTests
{
    // Each has a pool of its own, and waits most of the time.
    private const int AtOnce = 6;

    public static TheoryData<int> Parts() => [.. Enumerable.Range(0, (VerdictMatrix.Causes.Count + AtOnce - 1) / AtOnce)];

    [Theory]
    [MemberData(nameof(Parts))]
    [Trait("Conformance", "92")]
    public async Task Verdict_OfEveryCause_IsRight(int part)
    {
        var causes = VerdictMatrix.Causes.Skip(part * AtOnce).Take(AtOnce).ToArray();

        var errors = await Task.WhenAll(causes.Select(cause => cause.FailAsync()));

        Assert.All(causes.Zip(errors), pair => AssertRight(pair.First, pair.Second));
    }

    [Fact]
    public void Page_ShowsTheMatrix()
    {
        var rows = new StringBuilder("| what happens | the verdict | the message says |\n| --- | --- | --- |\n");
        foreach (var cause in VerdictMatrix.Causes)
        {
            rows.Append($"| {cause.Name} | [{cause.Verdict}](#{cause.Verdict.ToString().ToLowerInvariant()}) | {cause.Says} |\n");
        }

        VerdictPage.ShowsMatrix(rows.ToString());
    }

    private static void AssertRight(Cause cause, PoolException error)
    {
        var diagnosis = error switch
        {
            PoolExhaustedException exhausted => exhausted.Diagnosis,
            PoolRejectedException rejected => rejected.Diagnosis,
            _ => Assert.IsType<ConnectTimeoutException>(error).Diagnosis,
        };
        Assert.True(diagnosis.Verdict == cause.Verdict && error.Message.Contains(cause.Says, StringComparison.Ordinal), $"{cause.Name}: {error.Message}");
    }
}
