using System.Text;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>The matrix of docs/verdicts.md: whatever runs a pool dry, the verdict is right, and the message says whose fault it is.</summary>
public sealed class VerdictMatrixTests
{
    public static TheoryData<string> Names() => [.. VerdictMatrix.Causes.Select(cause => cause.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    [Trait("Conformance", "92")]
    public async Task Verdict_OfEveryCause_IsRight(string name)
    {
        var cause = VerdictMatrix.Causes.Single(cause => cause.Name == name);

        var error = await cause.FailAsync();

        var diagnosis = error switch
        {
            PoolExhaustedException exhausted => exhausted.Diagnosis,
            PoolRejectedException rejected => rejected.Diagnosis,
            _ => Assert.IsType<ConnectTimeoutException>(error).Diagnosis,
        };
        Assert.True(diagnosis.Verdict == cause.Verdict, error.Message);
        Assert.Contains(cause.Says, error.Message, StringComparison.Ordinal);
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
}
