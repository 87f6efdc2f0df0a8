using SafePool.Reports;
using Xunit;

namespace SafePool.Tests.Verdicts;

public sealed class VerdictPageTests
{
    [Fact]
    public void HelpLink_OfEveryVerdict_LeadsToASectionOfThePage()
    {
        var anchors = VerdictPage.Anchors().Select(anchor => $"docs/verdicts.md#{anchor}").ToHashSet();

        Assert.All(Enum.GetValues<PoolVerdict>(), verdict => Assert.Contains(DiagnosisSentences.HelpLink(verdict), anchors));
    }
}
