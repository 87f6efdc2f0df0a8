namespace SafePool.Analyzers.Tests;

/// <summary>Code about which one rule has to say something, and code about which it has not.</summary>
/// <param name="id">The rule.</param>
/// <param name="whole">Makes a file of a case.</param>
/// <param name="wrong">With <c>[|marks|]</c> where the rule speaks.</param>
/// <param name="right">Without.</param>
internal sealed class RuleCases(string id, Func<string, string> whole, string[] wrong, string[] right)
{
    public string Id { get; } = id;

    public string[] Wrong { get; } = wrong;

    public string[] Right { get; } = right;

    public Task VerifyAsync(string code) => Verify.CodeAsync(AllRules.Of(Id), whole(code));
}
