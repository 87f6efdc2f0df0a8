namespace SafePool.TestKit;

/// <summary>Counts what one connection may still get from its server under the rule in force. Belongs to the flow that passes it on.</summary>
internal sealed class CutMeter(ProxyTraffic traffic)
{
    private CutRule? _rule;
    private int _left;

    /// <summary>How many of these bytes may pass, and how the connection ends after them, if it does.</summary>
    public int Allow(int count, out ConnectionEnd? end)
    {
        var rule = traffic.Cut;
        if (!ReferenceEquals(rule, _rule))
        {
            _rule = rule;
            _left = rule?.Bytes ?? 0;
        }

        if (rule is null || count < _left)
        {
            _left -= count;
            end = null;
            return count;
        }

        end = rule.How;
        return _left;
    }
}
