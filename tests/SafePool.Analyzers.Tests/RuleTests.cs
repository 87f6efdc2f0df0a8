using SafePool.Analyzers.Tests.Cases;
using Xunit;

namespace SafePool.Analyzers.Tests;

/// <summary>Every rule on small code: it speaks where it has to, and nowhere else.</summary>
public sealed class RuleTests
{
    private static readonly RuleCases[] _rules =
    [
        NotReturnedCases.All,
        UsedAfterReturnCases.All,
        StoredLeaseCases.All,
        NestedRentCases.All,
        HeldAcrossCases.All,
        PoolPerCallCases.All,
        BlockingRentCases.All,
        NoTokenCases.All,
        RetryAtOnceCases.All,
        ReaderLeftEarlyCases.All,
    ];

    public static TheoryData<string, string> Wrong { get; } = [.. _rules.SelectMany(rule => rule.Wrong.Select(code => (rule.Id, code)))];

    public static TheoryData<string, string> Right { get; } = [.. _rules.SelectMany(rule => rule.Right.Select(code => (rule.Id, code)))];

    [Theory]
    [MemberData(nameof(Wrong))]
    public Task Code_ThatIsWrong_IsReported(string id, string code)
    {
        Assert.Contains("[|", code, StringComparison.Ordinal);
        return Of(id).VerifyAsync(code);
    }

    [Theory]
    [MemberData(nameof(Right))]
    public Task Code_ThatIsRight_IsNotReported(string id, string code)
    {
        Assert.DoesNotContain("[|", code, StringComparison.Ordinal);
        return Of(id).VerifyAsync(code);
    }

    [Fact]
    public void EveryRule_HasEnoughCases()
    {
        Assert.Equal(AllRules.Ids, _rules.Select(rule => rule.Id));
        Assert.All(_rules, rule => Assert.True(rule.Wrong.Length >= 3 && rule.Right.Length >= 6, $"{rule.Id}: {rule.Wrong.Length} wrong, {rule.Right.Length} right"));
    }

    private static RuleCases Of(string id) => _rules.Single(rule => rule.Id == id);
}
